"""What the integration tests are made of: machines, clients, captures, the server.

conftest.py puts this package's folder on `sys.path`, so that tests import it the
same way whatever import mode pytest uses.
"""
