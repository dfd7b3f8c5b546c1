"""int8 as explicit Q/DQ: what may be quantized, what is done before so that it loses little, and how it is written."""
