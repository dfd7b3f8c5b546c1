"""How much accuracy may be lost: what each group costs, and the fastest plan that keeps the budget."""
