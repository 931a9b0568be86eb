"""The code runner of MUXI formations (Skills RCE): one more process that the server keeps running."""
