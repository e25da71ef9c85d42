"""What the other parts stand on: how a process behaves, ends and fails, what it prints, writes and shows."""
