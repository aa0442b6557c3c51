// What the console uses of vendor/uppy.js. Uppy's events and options differ from one to the next: they are not checked here.
export const AwsS3: unknown;
export const Uppy: any;
