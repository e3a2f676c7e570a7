"""Fine-tuning on episodes. Empty in this version: the log carries what it will need, nothing reads it yet."""
