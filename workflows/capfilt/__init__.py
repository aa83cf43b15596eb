"""CapFilt on any corpus: the recipe, its ablation, and what is scored and shown of both."""
