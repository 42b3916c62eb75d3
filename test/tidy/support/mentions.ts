import type { Command } from 'commander';
import { commandNamed } from './program.ts';
import { documentFiles, linesOf } from './sources.ts';

/** A piece of code in a document: between backticks, or a line of a fenced block. */
export interface Mention {
  file: string;
  number: number;
  text: string;
}

export const mentions = (): Mention[] => documentFiles().flatMap((file) => mentionsIn(file));

export function mentionsIn(file: string, text?: string): Mention[] {
  const lines = text === undefined ? linesOf(file) : linesOf(file, text);
  let fenced = false;
  return lines.flatMap((line) => {
    if (line.text.trimStart().startsWith('```')) {
      fenced = !fenced;
      return [];
    }
    const pieces = fenced ? [line.text] : [...line.text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
    return pieces.map((piece) => ({ file, number: line.number, text: piece }));
  });
}

export const where = ({ file, number }: Mention): string => `${file}:${number}`;

/** The words after `holdfast` where it is called as a program; null where it is not. */
export function calledWords(text: string): string[] | null {
  const match = /^(?:\$ )?(?:[A-Z_]+=\S* )*(?:npx )?holdfast ([^#|>;]*)/.exec(text.trim());
  return match === null ? null : (match[1] ?? '').trim().split(/\s+/);
}

/** What is wrong with a command line; null: nothing. Only names of commands and options are judged. */
export function commandProblem(program: Command, words: readonly string[]): string | null {
  const own = new Set(program.options.flatMap(({ short, long }) => [short, long]));
  const rest = words.filter((word) => word !== '');
  const [first = ''] = rest;
  if (first.startsWith('-')) return optionProblem(rest, new Set([...own, '--help', '-h', '--version', '-V']));
  const command = commandNamed(program, rest);
  if (command === null) return `there is no command ${first}`;
  const [, second = ''] = rest;
  if (command.commands.length > 0 && /^[a-z]/.test(second)) return `${command.name()} has no command ${second}`;
  return optionProblem(rest, new Set([...own, '--help', '-h', ...command.options.flatMap(({ short, long }) => [short, long])]));
}

function optionProblem(words: readonly string[], known: ReadonlySet<string | undefined>): string | null {
  const unknown = words.filter((word) => /^--?[a-z]/i.test(word)).find((word) => !known.has(word.replace(/[=,].*$/, '')));
  return unknown === undefined ? null : `there is no option ${unknown} here`;
}
