declare const REPOSITORY: string;
