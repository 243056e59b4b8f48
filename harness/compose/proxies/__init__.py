"""Small tasks that tell compositions apart in seconds: six of MAD, and language modelling on local text."""
