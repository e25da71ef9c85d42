"""The lines that a run of a study shows while it works."""

from zeroshot.study.progress import Progress

LOG = """Assuming unrestricted shared filesystem usage.
Building DAG of jobs...
Job stats:
job          count
---------  -------
cells            1
run              3
page             3
total            7

Select jobs to execute...
Execute 1 jobs...

[Sat Nov 28 20:53:53 2026]
Job 3: cells of toy
"""


def test_each_finished_job_is_one_line_with_the_time_left(capsys):
    now = 0.0
    progress = Progress(2, clock=lambda: now)

    def feed(text: str) -> str:
        for line in text.splitlines():
            progress(line)
        return capsys.readouterr().err

    assert feed(LOG) == "7 jobs. [ 0:00] cells 0/1, runs 0/3, pages 0/3, less than a minute left\n"
    now = 10.0
    assert feed("[Sat Nov 28 20:54:03 2026]\nFinished jobid: 3 (Rule: cells)\n1 of 7 steps (14%) done\n") == (
        "[ 0:10] cells 1/1, runs 0/3, pages 0/3, less than a minute left | cells of toy\n"
    )
    feed("Job 1: run pca on toy\n")
    now = 250.0
    # 240 s a run, of which two are left, on two cores.
    assert "runs 1/3, pages 0/3, about 4 min left | run pca on toy" in feed("Finished jobid: 1 (Rule: run)\n")


def test_messages_and_errors_are_shown_as_they_are(capsys):
    progress = Progress(None)
    lines = ["pca on toy failed: no gene", "Error in rule run:", "    jobid: 4", "damaged: 3 of 7"]
    for line in [*LOG.splitlines(), *lines]:
        progress(line)
    shown = capsys.readouterr().err.splitlines()
    assert shown[1:] == lines and "left" not in shown[0]
