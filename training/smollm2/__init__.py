"""SmolLM2-135M-Instruct, fine-tuned on the starter's conversations."""
