"""The scripts that draw the portraits and train the embedded base; nothing of the running program imports them."""
