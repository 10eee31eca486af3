"""The paper's ablation: its rows, their training, the comparison, the table."""
