# The state of this host's server or agent. Other files of this folder have the rest of the configuration.
data_dir = "/var/lib/skerry"
