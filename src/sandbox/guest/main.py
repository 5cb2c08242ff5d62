# What a process does once it is isolated: its role comes with the job; descriptors 4 and 5 lead to the other process, 6 to the
# launcher. `JOB` is set by the launcher's one line of Python, which has read and closed descriptor 3.

_job = Reader(JOB, []).value()
if _job["role"] == "candidate":
    candidate(_job, 4, 5)
elif _job["role"] == "tester":
    tester(_job, 4, 5, 6)
else:
    splitter(_job, 6)
