"""Servers that hold a `Session` and speak HTTP: the pipeline behind OpenAI's chat completions API.

    espresso serve api --profile tiny --allow-media clips

    client = openai.OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="none")
    clip = {"type": "video_url", "video_url": {"url": "file:///clips/clip.mp4"}}
    question = {"type": "text", "text": "What hits the blue square?"}
    messages = [{"role": "user", "content": [clip, question]}]
    reply = client.chat.completions.create(model="tiny", messages=messages)
    reply.choices[0].message.content, reply.espresso["answer"]["evidence"]

A request passes:

1. `process`: uvicorn on one socket. SIGINT and SIGTERM end the server: requests that wait are
   refused, requests in progress get `settings.stop_s` seconds to end.
2. `guards`: the name of the host, the API key, and the headers of every reply, among them a content
   security policy. The log has method, path and status; no query, header or body.
3. `admission`: `settings.at_once` requests are in progress and `settings.waiting` more wait. The
   body of a request is read when its turn comes, so memory is bounded by the requests in progress.
   A further request gets 429 with Retry-After. A request ends when its time is up (504) and when
   its client disconnects.
4. `api`: the routes. `api.chat` turns OpenAI's request into an `AskRequest` and the `Answer` into
   OpenAI's reply; `/v1/ask` and `/v1/judge` take and return our own records.
5. `service`: answers an `AskRequest` with the session of its model. Of concurrent questions about
   the same visuals, the first captions them.
6. `sources`: what a request names as image or video is opened here and nowhere else: uploads, data
   URLs, files in allowed folders, and http(s) URLs of allowed hosts. `espresso.media.Limits` bounds
   it, and only the decoder processes read it.

A model is a profile, or a profile and a strategy: `tiny`, `tiny/uniform`. The profiles are chosen
when the server starts, and each has one session.
"""
