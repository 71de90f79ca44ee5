"""What an answer takes: the model alone and with each signal, in time and memory."""
