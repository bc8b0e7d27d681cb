UPDATE lease SET epoch = ?1, pid = ?2, pid_start = ?3;
