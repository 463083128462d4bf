"""The scripts that draw the portraits and train the embedded base; the running program imports the reader of drawings alone."""
