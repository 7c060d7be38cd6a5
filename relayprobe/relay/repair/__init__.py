"""What the relay puts right in a mail before it goes up: pure functions from what was captured to what is sent.

`text` repairs the text, `address` the envelope, `difference` shows what was changed. The same mail gives the same
octets at each attempt, whatever the size of the chunks it is read in.
"""
