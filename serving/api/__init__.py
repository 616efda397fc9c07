"""The HTTP API: OpenAI's chat completions and files; `/v1/ask` and `/v1/judge` with our records.

`app` has the routes, `chat` converts OpenAI's requests and replies, `options` and `json_reply` read
what a chat request says about the options and the form of the answer.
"""
