// What Fastify would compile JSON Schema with: two packages and 110 modules, for routes that have no schema or
// one of our own.
import type { FastifyServerOptions } from 'fastify'

/**
 * For every Fastify instance: answers are written by `JSON.stringify`, and what has a schema has its own
 * validator.
 */
export const withoutCompilers = {
  schemaController: {
    compilersFactory: {
      buildValidator: () => (): never => {
        throw new TypeError('a route with a schema needs a validatorCompiler')
      },
      buildSerializer: () => () => JSON.stringify,
    },
  },
} satisfies FastifyServerOptions
