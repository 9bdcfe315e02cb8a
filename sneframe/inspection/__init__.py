"""Look into one network: what it is, how its weights look, and what is wrong with them.

No run, no zoo and no code of the network is needed. Each parameter is read on its own, so a large file
takes little memory. The flow: a file is described, each parameter is measured (its spectrum among others),
findings are derived from the measurements, and the result is printed, written as a page, or compared with
another network.
"""
