"""What leaves the machine, and comes back: pushing and loading every artefact, with cards and gates.

:mod:`skindiff.hub.push` pushes adapters, pipelines and classifiers, :mod:`skindiff.hub.synthetic` synthetic
data sets, :mod:`skindiff.hub.results` run folders; :mod:`skindiff.hub.load` brings them back (generators come
by ``skindiff.load``). Pushes are private unless asked otherwise, go up in one commit, and can be called again
after whatever went wrong.
"""
