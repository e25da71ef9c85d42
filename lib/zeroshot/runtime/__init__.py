"""How a process of the project behaves: its arithmetic, children, errors, and what it prints and writes."""
