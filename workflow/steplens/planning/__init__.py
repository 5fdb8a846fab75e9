"""What a run will take, and what is looked at before its first job."""
