"""Where packets meet the network: sockets, frames, and Twisted's protocol."""
