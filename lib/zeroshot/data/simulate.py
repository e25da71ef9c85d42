"""A seeded simulator of blood cells with known types, batches and depth.

Counts are negative binomial. Cell types differ by marker programs under real gene symbols, so that
the vocabulary of a pretrained model matches; related types share programs, so that CD4 and CD8 T
cells are close and T cells and monocytes are not.
"""

import warnings

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

PACKAGES = ("anndata", "numpy", "pandas", "scanpy", "scipy")

# Genes that one type alone raises, and its share of the cells before batches differ.
MARKERS = {
    "CD4 T cell": "IL7R CCR7 LTB LDHB TCF7 LEF1 MAL NOSIP TRAT1 AQP3 CD40LG CD4 SELL",
    "CD8 T cell": "CD8A CD8B GZMK GZMH LAG3 CRTAM THEMIS KLRG1 DUSP2 LYAR TRGC2 S100B",
    "NK cell": "GNLY NCAM1 KLRD1 KLRF1 KLRC1 SPON2 XCL1 XCL2 CLIC3 TTC38 IL2RB NCR1 SH2D1B",
    "B cell": "MS4A1 CD79A CD79B CD19 CD22 BANK1 BLK PAX5 VPREB3 TCL1A IGHM IGHD RALGPS2",
    "CD14 monocyte": "CD14 LYZ S100A8 S100A9 S100A12 VCAN CD36 CSF3R MNDA RBP7 CES1 THBS1",
    "FCGR3A monocyte": "FCGR3A MS4A7 CDKN1C RHOC HES4 TCF7L2 VMO1 CKB SIGLEC10 LYPD2 CXCL16 IFITM3",
    "Dendritic cell": "FCER1A CLEC10A CD1C CD1E CLEC9A XCR1 FLT3 ENHO PKIB NDRG2 PLD4 CACNA2D3",
    "Megakaryocyte": "PPBP PF4 GP9 ITGA2B ITGB3 TUBB1 GNG11 CAVIN2 CLU SPARC TREML1 MYL9",
}
SHARES = {
    "CD4 T cell": 0.28,
    "CD8 T cell": 0.16,
    "NK cell": 0.12,
    "B cell": 0.14,
    "CD14 monocyte": 0.16,
    "FCGR3A monocyte": 0.06,
    "Dendritic cell": 0.05,
    "Megakaryocyte": 0.03,
}
# Genes that several types raise together.
SHARED_PROGRAMS = {
    ("CD4 T cell", "CD8 T cell"): "CD3D CD3E CD3G CD2 CD5 CD6 CD27 TRAC TRBC2 BCL11B LCK IL32",
    ("CD8 T cell", "NK cell"): "NKG7 CCL5 GZMA GZMB PRF1 CST7 CTSW KLRK1 GZMM HOPX FGFBP2 CCL4",
    ("CD14 monocyte", "FCGR3A monocyte", "Dendritic cell"): (
        "CST3 AIF1 TYMP FCN1 LST1 SPI1 CTSS CFD SERPINA1 PSAP TYROBP GRN COTL1"
    ),
    ("B cell", "Dendritic cell", "CD14 monocyte", "FCGR3A monocyte"): (
        "CD74 HLA-DRA HLA-DRB1 HLA-DPA1 HLA-DPB1 HLA-DQA1 HLA-DQB1 HLA-DMA HLA-DMB"
    ),
}
HOUSEKEEPING = (
    "ACTB ACTG1 GAPDH B2M TMSB4X TMSB10 MALAT1 EEF1A1 EEF2 TPT1 FTH1 FTL UBC UBB PPIA HSP90AA1 HSP90AB1 "
    "HSPA8 PFN1 CFL1 YWHAZ LDHA PGK1 TPI1 ENO1 NACA NPM1 BTF3 FAU UBA52 CALM1 MYL6 MYL12A SERF2 OAZ1 "
    "HNRNPA1 SRSF3 COX4I1 COX6C GSTP1 PTMA SUMO2 VIM S100A4 ARPC2 ARPC3 SH3BGRL3 TAGLN2 HINT1 EIF1"
)
RIBOSOMAL = (
    "RPL3 RPL4 RPL5 RPL6 RPL7 RPL7A RPL8 RPL9 RPL10 RPL10A RPL11 RPL12 RPL13 RPL13A RPL14 RPL15 RPL17 "
    "RPL18 RPL18A RPL19 RPL21 RPL22 RPL23 RPL23A RPL24 RPL26 RPL27 RPL27A RPL28 RPL29 RPL30 RPL31 RPL32 "
    "RPL34 RPL35 RPL35A RPL36 RPL37 RPL37A RPL38 RPL39 RPL41 RPLP0 RPLP1 RPLP2 RPSA RPS2 RPS3 RPS3A "
    "RPS4X RPS5 RPS6 RPS7 RPS8 RPS9 RPS10 RPS11 RPS12 RPS13 RPS14 RPS15 RPS15A RPS16 RPS17 RPS18 RPS19 "
    "RPS20 RPS21 RPS23 RPS24 RPS25 RPS26 RPS27 RPS27A RPS28 RPS29"
)
MITOCHONDRIAL = (
    "MT-ND1 MT-ND2 MT-ND3 MT-ND4 MT-ND4L MT-ND5 MT-ND6 MT-CO1 MT-CO2 MT-CO3 MT-ATP6 MT-ATP8 MT-CYB"
)

# Mean log-abundance of each group of genes, relative to background genes. Chosen so that, as in blood
# by 10x, ribosomal, mitochondrial and housekeeping genes take about half of a cell's molecules.
ABUNDANCE = {"ribosomal": 2.2, "mitochondrial": 2.2, "housekeeping": 1.6, "marker": 0.0, "background": 0.0}
ABUNDANCE_SPREAD = 0.8
MARKER_LOG_FOLD = 2.0
DISPERSION = 0.3  # variance = mean + DISPERSION * mean^2, within a type and batch
GENE_BATCH_SPREAD = 0.5  # standard deviation of the log factor of a gene in a batch, at strength 1
LIBRARY_SPREAD = 0.35  # of log library size between the cells of a batch


def simulate_atlas(
    n_cells: int = 2400,
    n_genes: int = 900,
    n_batches: int = 3,
    batch_strength: float = 1.0,
    depth_strength: float = 0.5,
    composition_strength: float = 0.6,
    dropout: float = 0.15,
    median_depth: float = 2000.0,
    seed: int = 0,
) -> AnnData:
    """Negative-binomial counts of eight blood cell types in several batches.

    Parameters
    ----------
    n_cells, n_genes, n_batches
        Sizes. Genes are taken in a fixed order, markers first; cells are split evenly over batches.
    batch_strength
        Scales the log-normal factors by which each batch multiplies each gene; 0 switches them off.
    depth_strength
        Batches are spread evenly over median depths from exp(-depth_strength) to exp(depth_strength)
        times ``median_depth``; 0 makes them equal.
    composition_strength
        Standard deviation of the log factor by which each batch multiplies the share of each type.
    dropout
        Mean share of a cell's detected genes that are lost; it varies between cells (beta).
    median_depth
        Median counts per cell, before dropout.
    seed
        Same seed, same counts. The parts are seeded apart, so that composition and library sizes stay
        when a strength changes.

    Returns
    -------
    AnnData
        Counts (cells, genes) in CSR float32; ``obs`` has ``cell_type`` and ``batch``, ``var`` the
        ``program`` a gene belongs to.

    Raises
    ------
    ValueError
        If a size is too small, more genes are asked for than there are symbols, or a strength is
        negative.
    """
    if min(batch_strength, depth_strength, composition_strength) < 0 or not 0 <= dropout < 1:
        raise ValueError("strengths must not be negative, and dropout must lie in [0, 1)")
    if n_batches < 1 or n_cells < 10 * n_batches * len(MARKERS):
        raise ValueError(f"{n_cells} cells are too few for {n_batches} batches of {len(MARKERS)} types")
    genes = _genes(n_genes)
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)]
    profile_stream, composition_stream, batch_stream, cell_stream, count_stream = streams

    labels, batches = _composition(n_cells, n_batches, composition_strength, composition_stream)
    profiles = _profiles(genes, profile_stream)
    gene_factors = np.exp(batch_strength * batch_stream.normal(0, GENE_BATCH_SPREAD, (n_batches, n_genes)))
    spread = np.linspace(-1, 1, n_batches) if n_batches > 1 else np.zeros(1)
    library = median_depth * np.exp(depth_strength * spread[batches])
    library *= np.exp(cell_stream.normal(0, LIBRARY_SPREAD, n_cells))

    mean = profiles[labels] * gene_factors[batches]  # (cells, genes)
    mean *= (library / mean.sum(axis=1))[:, None]
    counts = count_stream.poisson(count_stream.gamma(1 / DISPERSION, mean * DISPERSION))
    if dropout:
        lost = cell_stream.beta(4 * dropout, 4 * (1 - dropout), n_cells)
        # A cell that lost nearly everything would have been filtered out of a real data set.
        counts[count_stream.random(counts.shape) < np.minimum(lost, 0.8)[:, None]] = 0

    types = np.array(list(MARKERS))
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(types[labels]),
            "batch": pd.Categorical([f"batch{batch + 1}" for batch in batches]),
        },
        index=[f"cell{i:05d}" for i in range(n_cells)],
    )
    return AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs, genes)


def _genes(n_genes: int) -> pd.DataFrame:
    """Gene symbols with the program each belongs to: markers first, background last."""
    groups = [(name, "marker", symbols) for name, symbols in MARKERS.items()]
    groups += [(" + ".join(names), "marker", symbols) for names, symbols in SHARED_PROGRAMS.items()]
    least = sum(len(symbols.split()) for _, _, symbols in groups)
    groups += [
        (group, group, symbols)
        for group, symbols in (
            ("ribosomal", RIBOSOMAL),
            ("mitochondrial", MITOCHONDRIAL),
            ("housekeeping", HOUSEKEEPING),
            ("background", " ".join(_background())),
        )
    ]
    table = pd.DataFrame(
        [(symbol, program, group) for program, group, symbols in groups for symbol in symbols.split()],
        columns=["symbol", "program", "group"],
    ).drop_duplicates("symbol")
    if not least <= n_genes <= len(table):
        raise ValueError(f"n_genes must lie between {least} (the markers) and {len(table)}, got {n_genes}")
    return table.set_index("symbol").rename_axis(None).head(n_genes)


def _background() -> list[str]:
    """Symbols of the 765 variable genes of scanpy's embedded blood data, without clone names."""
    import scanpy as sc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the age of the packaged file
        names = sc.datasets.pbmc68k_reduced().raw.var_names
    return [name for name in names if "." not in name and not name.startswith(("RP11-", "RP4-", "CTD-"))]


def _profiles(genes: pd.DataFrame, stream: np.random.Generator) -> np.ndarray:
    """Expected share of each gene in each type before batch effects, up to a factor (types, genes)."""
    log_abundance = genes["group"].map(ABUNDANCE).to_numpy() + stream.normal(0, ABUNDANCE_SPREAD, len(genes))
    raised = np.array([[name in program.split(" + ") for program in genes["program"]] for name in MARKERS])
    return np.exp(log_abundance + MARKER_LOG_FOLD * raised)


def _composition(
    n_cells: int, n_batches: int, strength: float, stream: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Type and batch of each cell, as integers; every batch holds every type."""
    shares = np.array([SHARES[name] for name in MARKERS])
    labels, batches = [], []
    for batch, size in enumerate(np.diff(np.linspace(0, n_cells, n_batches + 1).astype(int))):
        tilted = shares * np.exp(strength * stream.normal(size=len(shares)))
        numbers = np.maximum(3, np.floor(size * tilted / tilted.sum())).astype(int)
        numbers[np.argmax(numbers)] += size - numbers.sum()  # what rounding left goes to the largest type
        labels.append(stream.permutation(np.repeat(np.arange(len(shares)), numbers)))
        batches.append(np.full(size, batch))
    return np.concatenate(labels), np.concatenate(batches)
