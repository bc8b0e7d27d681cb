#!/bin/sh
# Stands in for `orch` in the tests of the stand-in agents: says how it was called on the stdout it shares with the
# agent, so that one pipe tells the order of things, and fails once for every file refuse-VERB in the working directory.
echo "orch: $*"
[ ! -e "refuse-$2" ] || { rm -- "refuse-$2" && exit 1; }
