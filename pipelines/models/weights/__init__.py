"""What is done to a model's weights: adapters put on them, quantisation, conversion, and what that costs in quality."""
