#!/usr/bin/env node
// The program: its process-wide settings, and its exit code.
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { outliveReaders } from './cli/output/print.ts'
import { run } from './cli/run.ts'

// Bodies arrive in pieces of 64 KiB outside of the heap, which a collection of the young generation
// gives back. It collects the more rarely the larger it is: grown to its limit, 80 MiB lie around. On the
// command line V8 takes no factor below 2; docs/performance.md has what other sizes cost.
setFlagsFromString('--semi-space-growth-factor=1')
// Where it may have 2 GiB, V8 takes four times what is in use before it collects that: 60 MiB of garbage. With less
// memory it does not take twice as much.
if (getHeapStatistics().heap_size_limit >= 2 ** 31) setFlagsFromString('--heap-growing-percent=100')

outliveReaders()
const code = await run(process.argv.slice(2))
process.exitCode ??= code
