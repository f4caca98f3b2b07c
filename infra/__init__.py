"""What runs the pipeline for a team: servers, workers, images, and commands to maintain them."""
