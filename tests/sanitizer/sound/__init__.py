"""What the files of `defects/` should have been; `# BENIGN` marks a line worth a remark and no more."""
