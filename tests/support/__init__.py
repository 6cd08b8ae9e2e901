"""The test bed: certificates, tokens, child processes, wire clients and scripted peers, made at run time."""
