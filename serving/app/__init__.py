"""The web app: the pipeline in a browser.

    espresso app --profile tiny --runs runs --allow-media clips

The app is a front end. It holds a `serving.service.Service`, the one of `espresso serve api` with a
single profile, and asks it the same way; what it shows are records (`Answer`, and the state of the
answer graph after each node) and the pages that the command line writes.

- `page`: the Gradio page with its four tabs, and what their events do.
- `ask`: asks a question and yields a view of the graph's work after each event.
- `view`: renders a view as HTML (`answer.html.jinja`). Values are escaped.
- `shown`: images and videos of the page. They are opened by `serving.sources`, so uploads and
  allowed folders are the only sources, `espresso.media.Limits` bounds them, and the decoder
  processes read them. The browser gets a video by its digest, and only if a page has opened it.
- `examples`: clips and pairs of the world, rendered on the first start.
- `reports`: the run report (`eval.report.html`) and the review page (`agents.annotate.dataset`),
  each in a frame of its own. A decision on the review page is stored in the file of decisions.
- `server`: the routes beside the page, the middleware, and starting.

A user's mistake is one sentence in the page. The page loads nothing from other hosts. Its content
security policy allows scripts by file and by hash (`server.Policy`); Gradio does not permit to
forbid inline styles, and it compiles templates of its components at run time ('unsafe-eval').
"""
