// What the console uses of vendor/preact.js. A view is whatever `html` gives.
type Change<T> = T | ((old: T) => T);
export const html: (strings: TemplateStringsArray, ...values: any[]) => any;
export function render(node: any, parent: Element): void;
export function useState<T>(initial: T | (() => T)): [T, (change: Change<T>) => void];
export function useReducer<S, A>(reduce: (state: S, action: A) => S, initial: S): [S, (action: A) => void];
export function useEffect(run: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useRef<T>(initial: T): { current: T };
export function useCallback<T>(callback: T, inputs: readonly unknown[]): T;
export function useId(): string;
