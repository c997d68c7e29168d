"""What ``glintiqa`` can do: a file a job, which ``define``s its flags and ``run``s."""
