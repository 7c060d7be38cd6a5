"""What is wrong with a dialogue: one small pure function per misbehaviour, one file per theme."""
