"""What is computed in which type: fp16 and bf16 casts, int8 Q/DQ."""
