"""The node agent: makes this machine's sandboxes match the Pods bound to it.

Decisions are pure functions (bundle, probe schedules, restarts, parking, status); effects sit in thin shells
around runc, rtnetlink, nft, mount(2) and the file system. Whatever the agent makes outside its memory is
recorded before it is made, so that an agent that was killed finds it again, and finishes or undoes it.
"""
