"""What SegDINO is: the DINOv3 backbone, the five head families and their checkpoints."""
