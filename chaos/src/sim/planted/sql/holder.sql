SELECT epoch, pid, pid_start FROM lease;
