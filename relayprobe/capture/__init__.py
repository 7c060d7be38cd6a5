"""The device's side: listeners, the tap on the socket, TLS towards the device, and what it is answered."""
