"""Where evaluations run: processes of this machine, or Ray. Results never depend on which, or on how many."""
