"""What crossed the wire: events, the reader that makes them from bytes, the ClientHello parser, and Session."""
