"""Training of what conditions a video generator on what an image encoder and a vision-language model see."""
