// Lets the requests of one connection wait for each other: one is worked on, some are kept, and a
// client that sends more ahead of its answers loses its connection.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { responseOn } from './bad-request.ts'

export interface PipelineOptions {
  /** Requests that one connection may keep waiting. */
  limit: () => number
  /** Told where a connection came from that was closed for sending more. */
  onExcess: (source: string) => void
}

interface Waiting {
  req: IncomingMessage
  res: ServerResponse
}

/** Gives `handler` each request when those before it on its connection are answered. */
export function inTurn(
  handler: RequestListener,
  { limit, onExcess }: PipelineOptions,
): RequestListener {
  const queues = new WeakMap<Socket, Waiting[]>()

  function next(socket: Socket): void {
    const waiting = queues.get(socket)?.shift()
    if (waiting === undefined || socket.destroyed) {
      queues.delete(socket)
      return
    }
    waiting.res.once('close', () => next(socket))
    handler(waiting.req, waiting.res)
  }

  function wait(socket: Socket, waiting: Waiting): void {
    if (socket.destroyed) return
    let queue = queues.get(socket)
    if (queue === undefined) {
      queue = []
      queues.set(socket, queue)
      responseOn(socket)?.once('close', () => next(socket))
    }
    queue.push(waiting)
    if (queue.length <= limit()) return
    onExcess(socket.remoteAddress ?? 'unknown')
    queues.delete(socket)
    socket.destroy()
  }

  return (req, res) => {
    // An answer has its socket from the start unless there is one before it.
    if (res.socket === null) wait(req.socket, { req, res })
    else handler(req, res)
  }
}
