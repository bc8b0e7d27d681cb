INSERT INTO event (seq, at_us, wall_us, project_id, event, body)
SELECT (SELECT max(seq) FROM event) + row_number() OVER (ORDER BY id),
(SELECT max(at_us) FROM event), 0, id, 'project_moved',
json_object('event', 'project_moved', 'from', 'completed', 'to', 'queued', 'cause', NULL,
'reason', NULL, 'after', 0, 'agent_role', NULL, 'epoch', epoch, 'session', NULL)
FROM project WHERE state = 'completed' AND finalizer = 0;
UPDATE project SET state = 'queued', moved_seq =
(SELECT max(seq) FROM event WHERE project_id = project.id AND event = 'project_moved')
WHERE state = 'completed' AND finalizer = 0;
