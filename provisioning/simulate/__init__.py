"""A fleet that is not there: real MQTT 5 clients over mutual TLS that enrol, report, obey, fail and come back.

::

    device.py    one device: events in, acts out; boarding.py enrols it, working.py reports, obey.py answers (all pure)
    link.py      one connection                  loop.py      many devices in one thread
    worker.py    a process with its share        employees.py whoever started it
    witness.py   the collector that counts what arrives
    world.py     broker and service, started for the time of a rehearsal
    figures.py   what is measured (pure)         screen.py    while it runs         run.py   all of it together
    plot.py      a picture of several rehearsals

Enrolment, keys and waits are the device's own modules, so that what is rehearsed is what devices do.
"""
