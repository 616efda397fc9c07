"""vLLM servers for a profile: `launch` plans and starts them, `process` is the serving process, `worker` the CPU worker."""
