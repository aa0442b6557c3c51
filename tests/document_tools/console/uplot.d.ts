// What the console uses of vendor/uplot.js, whose own types describe each option.
export const uPlot: {
  new (options: object, data: unknown[][], place: HTMLElement): { destroy(): void; setSize(size: { width: number; height: number }): void };
  tzDate(date: Date, zone: string): Date;
};
